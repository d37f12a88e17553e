"""The metadata service of instances: what 169.254.169.254 answers."""

from cloudlet.kernel.http import Handler
from cloudlet.kernel.site import Site
from cloudlet.services.ec2.metadata.handler import InstanceMetadata
from cloudlet.services.ec2.metadata.identity import Signer
from cloudlet.store.db import Store


def instance_metadata(store: Store, site: Site) -> Handler:
    """Answers whatever instances ask on 169.254.169.254."""
    return InstanceMetadata(store, Signer(site.data_dir)).handle
