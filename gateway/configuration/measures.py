"""From the words about measures to the rules that are applied. Pure."""

from gateway.configuration.schema_measures import Cap, PlanBlancSpec, PostureSpec
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule, StrictRule


def compile_measures(posture: PostureSpec, plan_blanc: PlanBlancSpec) -> MeasureRules:
    """Return what each measure does."""
    ceilings = plan_blanc.ceiling.model_dump()
    return MeasureRules(
        StrictRule(round(posture.caps_share * 1_000), posture.idle_s, posture.absolute_s),
        PlanBlancRule(
            times_milli=round(plan_blanc.times * 1_000),
            raises=frozenset(cap.control for cap in plan_blanc.raises),
            ceilings=tuple((cap.control, ceilings[cap.value]) for cap in Cap),
        ),
    )
