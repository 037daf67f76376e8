import pytest
from notebook import create_app
from notebook.models import Note, User, db


@pytest.fixture
def app():
    app = create_app(
        {
            "TESTING": True,
            "JAM_JWT_SECRET_KEY": "only-for-tests-0123456789-abcdefghijk",
            "SQLALCHEMY_DATABASE_URI": "sqlite://",
        }
    )
    with app.app_context():
        db.create_all()
        ada = User(email="ada@example.org", role="admin")
        bob = User(email="bob@example.org")
        for user in (ada, bob):
            user.set_password("correct horse")
            user.notes.append(Note(text=f"A note of {user.email}"))
            db.session.add(user)
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()
