"""Which upstream a request goes to. Pure: values in, a :class:`~proxy.routing.target.Target` or an error out."""
