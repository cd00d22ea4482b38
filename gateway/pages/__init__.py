"""What professionals see: values in, a Reply out. French first, English second, no script.

``views`` has one function a page and the values they take, ``problem`` the answer for API clients and
the test that tells them from browsers, ``language`` the choice of language and the catalogues.
"""
