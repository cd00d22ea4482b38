"""One model, so that Django's administration has patients to show."""

from typing import ClassVar

from django.db import models


class Patient(models.Model):
    """An invented person."""

    nom: models.CharField = models.CharField(max_length=80)
    prenom: models.CharField = models.CharField("prénom", max_length=80)
    naissance: models.DateField = models.DateField()
    telephone: models.CharField = models.CharField("téléphone", max_length=20, blank=True)
    service: models.CharField = models.CharField(max_length=40, default="Urgences")

    class Meta:
        ordering: ClassVar = ["nom", "prenom"]

    def __str__(self) -> str:
        return f"{self.nom} {self.prenom}"
