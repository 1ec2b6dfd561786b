"""Neighbours, clusters and rankings on the GPU are those of the CPU and of dense matrices."""

import pytest
from gpu_checks.clustering import check_jaccard_dbscan, check_kmeans, check_neighbors
from gpu_checks.ranking import check_ranking, check_reranking


@pytest.mark.parametrize(
    "check", [check_neighbors, check_jaccard_dbscan, check_ranking, check_reranking]
)
def test_arrays_equal_those_of_the_cpu(passes, check):
    passes(check, num=4000, dim=512)


def test_k_means_equals_that_of_the_cpu(passes):
    passes(check_kmeans, num=4000, num_clusters=150, dim=512)
