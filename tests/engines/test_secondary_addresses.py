"""Interfaces with more addresses than one, on real namespaces."""

from dataclasses import replace

from cloudlet.engines.ports import InterfaceSpec
from tests.engines import test_networks as networks
from tests.engines.fabric_ground import OUT, FabricGround, member, opened, real, rule

ground, web, client = networks.ground, networks.web, networks.client  # the fixtures


@real
def test_each_address_of_an_interface_is_reached_as_its_groups_allow(ground: FabricGround, web: InterfaceSpec,
                                                                     client: InterfaceSpec) -> None:
    """Groups stand for all addresses of their interfaces, public ones for the private one that they belong to."""
    wide, public = replace(web, addresses=(web.address, "10.1.0.40")), ground.public(5)
    ground.run(ground.networks.ensure_interface(wide))
    with ground.server(wide), ground.server(client):
        ground.apply([member(wide, public=public, internet=networks.ANYWHERE, names=("wide.internal",)),
                      member(client)],
                     sg_a=opened(rule("ingress", peer="sg-a"), *(rule("ingress", peer=f"{address}/32")
                                                                 for address in (ground.host, public))))
        assert ground.tcp(client, "10.1.0.40") == client.address == ground.tcp(client, web.address)
        assert ground.tcp(None, public) == ground.host
        assert ground.resolve(client, "wide.internal") == (0, [web.address, "10.1.0.40"])
        assert ground.seen_from(wide, "10.1.0.40", client.address) == "10.1.0.40", "a group's member by any address"
        assert ground.seen_from(wide, "10.1.0.40", public) == public, "it goes out by the public one of its own"
        assert ground.seen_from(wide, web.address, public) is None, "and the other has none"
        ground.apply([member(wide, "sg-b"), member(client)], sg_a=opened(rule("ingress", peer="sg-a")), sg_b=(OUT,))
        assert ground.tcp(client, "10.1.0.40") is None is ground.seen_from(wide, "10.1.0.40", client.address)


@real
def test_an_address_that_is_taken_away_is_cut_and_spoofs_nothing(ground: FabricGround, web: InterfaceSpec,
                                                                client: InterfaceSpec) -> None:
    wide, open_all = replace(web, addresses=(web.address, "10.1.0.41")), opened(rule("ingress"))
    ground.run(ground.networks.ensure_interface(wide))
    ground.apply([member(wide), member(client)], sg_a=open_all)
    with ground.server(wide), ground.server(client):
        calls = ground.call(client, web.address), ground.call(client, "10.1.0.41")
        assert calls[0] and calls[1]
        with calls[0], calls[1]:
            ground.run(ground.networks.ensure_interface(web))
            ground.apply([member(web), member(client)], sg_a=open_all)
            assert calls[0].echoes() and calls[1].is_cut()
        assert ground.tcp(client, "10.1.0.41") is None
        ground.command(web, "ip", "address", "add", "10.1.0.41/32", "dev", "eth0")
        assert ground.seen_from(web, "10.1.0.41", client.address) is None, "it says so itself, and nobody else does"
        ground.command(web, "ip", "address", "delete", "10.1.0.41/32", "dev", "eth0")
        wider = replace(client, addresses=(client.address, "10.1.0.41"))
        ground.run(ground.networks.ensure_interface(wider))
        ground.apply([member(web), member(wider)], sg_a=open_all)
        assert ground.tcp(web, "10.1.0.41") == web.address
        ground.run(ground.networks.ensure_interface(client))
