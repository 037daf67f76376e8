import pytest

pytest.register_assert_rewrite("flask_jam.testing.stores")
