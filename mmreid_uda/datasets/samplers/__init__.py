"""Which images make up a batch: P×K identities per domain, the same for any number of ranks and workers."""

from .domain_batch_sampler import DomainBatchSampler
from .identity import distinct_plan, identity_plan

__all__ = ["DomainBatchSampler", "distinct_plan", "identity_plan"]
