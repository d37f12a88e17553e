"""The loops of S3."""

from cloudlet.control.controller import Controller
from cloudlet.control.rounds import every, every_day
from cloudlet.services.s3 import replication, replication_rules
from cloudlet.services.s3.contents import GARBAGE, ROTTEN
from cloudlet.services.s3.garbage import SWEEP_S, Collector
from cloudlet.services.s3.inventory import Lister
from cloudlet.services.s3.lifecycle import Keeper
from cloudlet.services.s3.log_delivery import DELIVERY, EVERY_S, Deliverer
from cloudlet.services.s3.restoring import Closer
from cloudlet.services.s3.scrub import Scrubber
from cloudlet.services.s3.settings.bucket_inventory import WORK as INVENTORY
from cloudlet.services.s3.settings.bucket_lifecycle import WORK
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store


def controller(store: Store, objects: Blobs) -> Controller:
    """All of them. `objects` are the files of its objects."""
    store.blobs["s3"] = objects
    collector, scrubber, keeper = Collector(store, objects), Scrubber(store, objects), Keeper(store)
    objects.on_failure = scrubber.suspect
    deliverer, lister, clock = Deliverer(store), Lister(store), store.clock
    return Controller({GARBAGE: collector.files, ROTTEN: scrubber.rotten, WORK: keeper.carry_out,
                       replication_rules.WORK: replication.Copier(store).copy, DELIVERY: deliverer.deliver,
                       INVENTORY: lister.deliver},
                      workers={"s3.sweep": every(SWEEP_S, collector.look, clock), "s3.scrub": scrubber.run,
                               "s3.lifecycle": every_day(keeper.look, clock),
                               "s3.access_log": every(EVERY_S, deliverer.look, clock),
                               "s3.inventory": every_day(lister.look, clock),
                               "s3.restored": every_day(Closer(store).look, clock)})
