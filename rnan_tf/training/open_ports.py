"""Who can reach the ports that TensorFlow opens between machines: anyone, for it asks nobody who he is."""

import ipaddress

import psutil

from rnan_tf.errors import InputError


def check_ports_are_private(i_know_this_network_is_private: bool) -> None:
    """Refuse to open TensorFlow's ports where others could reach them, unless the user says that all may.

    TensorFlow's data service and its clusters listen on all interfaces, whatever address they are given, and whoever
    reaches a port runs graphs with the rights of this process: it reads and writes its files.

    Args:
        i_know_this_network_is_private: whether the user trusts everyone who can reach this machine.

    Raises:
        InputError: the machine has an address beside those of itself, and the user does not.
    """
    addresses = reachable_addresses()
    if addresses and not i_know_this_network_is_private:
        raise InputError(
            f"whoever reaches this machine ({', '.join(addresses[:3])}) could run TensorFlow graphs with your rights, "
            "because TensorFlow listens on all interfaces and asks for no password; if you trust everyone on "
            "its networks, give `i_know_this_network_is_private`"
        )


def reachable_addresses() -> list[str]:
    """Return the addresses by which other machines may reach this one: those of its interfaces that are up."""
    states = psutil.net_if_stats()
    found = []
    for interface, addresses in psutil.net_if_addrs().items():
        if interface in states and not states[interface].isup:
            continue
        for entry in addresses:
            try:
                address = ipaddress.ip_address(entry.address)
            except ValueError:  # of hardware
                continue
            if not address.is_loopback:
                found.append(entry.address)
    return found
