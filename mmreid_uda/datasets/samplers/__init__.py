"""Which images make up a batch: P×K identities or proxies per domain, the same for any number of ranks and workers."""

from .domain_batch_sampler import DomainBatchSampler
from .identity import distinct_plan, identity_plan
from .proxy_balanced import ProxyBalancedSampler

__all__ = ["DomainBatchSampler", "ProxyBalancedSampler", "distinct_plan", "identity_plan"]
