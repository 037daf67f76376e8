import click
from flask import Blueprint

from .models import User, db

blueprint = Blueprint("commands", __name__, cli_group=None)


@blueprint.cli.command("init-db")
def init_db():
    """Create the tables that are missing."""
    db.create_all()


@blueprint.cli.command("add-user")
@click.argument("email")
@click.option("--role", default="member", type=click.Choice(["member", "admin"]))
@click.password_option()
def add_user(email, role, password):
    """Add a user, and ask for their password."""
    user = User(email=email.strip().casefold(), role=role)
    user.set_password(password)
    db.session.add(user)
    db.session.commit()
    click.echo(f"user {user.id}: {user.email}, {user.role}")
