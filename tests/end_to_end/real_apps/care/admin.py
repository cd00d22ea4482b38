"""The administration of patients, and an export as many sites write it."""

import csv
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from .models import Patient


@admin.register(Patient)
class PatientAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A hundred rows a page, as Django ships it."""

    list_display: ClassVar = ["nom", "prenom", "naissance", "telephone"]
    search_fields: ClassVar = ["nom", "prenom"]
    list_filter: ClassVar = ["service"]
    actions: ClassVar = ["export_csv"]

    @admin.action(description="Exporter en CSV", permissions=["change"])
    def export_csv(self, request: HttpRequest, queryset: "QuerySet[Any]") -> HttpResponse:
        """Write the chosen patients as CSV."""
        answer = HttpResponse(content_type="text/csv")
        answer["Content-Disposition"] = 'attachment; filename="patients.csv"'
        lines = csv.writer(answer)
        lines.writerow(["id", "nom", "prenom", "telephone"])
        for patient in queryset:
            lines.writerow([patient.pk, patient.nom, patient.prenom, patient.telephone])
        return answer
