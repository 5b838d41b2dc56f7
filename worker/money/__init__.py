"""MONEY: what calls cost, the limits they are reserved against, alerts and the emergency cut-off."""
