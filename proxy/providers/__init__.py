"""What differs between upstreams: URL, credentials, form fields. Pure: a target in, an outbound request out.

base       the words: Route, Asked, Outbound, TokenRequest, FieldNeeded
provider   a provider as data, and what a dialect has to say
openai     the OpenAI dialect
azure      Azure's dialects
table      the providers known from the start: adding one is adding a row
registry   the table with the settings laid over it, and how to find one
auth       how a credential travels
urls       how a URL is put together without losing its host
body       how changes to the body are put together
"""
