"""Which images make up a batch: P×K identities per domain, the same for any number of ranks and workers."""

from .domain_batch_sampler import DomainBatchSampler
from .identity import identity_plan

__all__ = ["DomainBatchSampler", "identity_plan"]
