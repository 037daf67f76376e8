from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default="member")
    is_active: Mapped[bool] = mapped_column(default=True)
    notes: Mapped[list["Note"]] = relationship(
        back_populates="owner",
        cascade="all, delete-orphan",
        order_by="Note.id.desc()",
    )

    @property
    def subject(self):
        return str(self.id)

    def set_password(self, password):
        self.password_hash = generate_password_hash(password)


class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    owner: Mapped[User] = relationship(back_populates="notes")


def find_user(email):
    query = db.select(User).filter_by(email=email.strip().casefold(), is_active=True)
    return db.session.scalar(query)


# For addresses that are unknown, so that they take as long as known ones.
UNKNOWN = generate_password_hash("unknown")


def check_login(email, password):
    user = find_user(email)
    is_right = check_password_hash(user.password_hash if user else UNKNOWN, password)
    return user if is_right else None
