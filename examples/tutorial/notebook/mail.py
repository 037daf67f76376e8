import smtplib
from email.message import EmailMessage

from flask import current_app


def send_mail(to, subject, text):
    server = current_app.config["MAIL_SERVER"]
    if server is None:
        current_app.logger.info("mail to %s: %s\n%s", to, subject, text)
        return
    message = EmailMessage()
    message["From"], message["To"] = current_app.config["MAIL_FROM"], to
    message["Subject"] = subject
    message.set_content(text)
    with smtplib.SMTP(server, timeout=10) as smtp:
        smtp.send_message(message)
