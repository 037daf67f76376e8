import pytest

pytest.register_assert_rewrite("flask_jam.testing.stores", "flask_jam.testing.tickets")
