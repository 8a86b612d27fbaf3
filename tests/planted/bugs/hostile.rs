//! Bugs that whoever may make objects and pods makes use of.

use super::{Bug, Check};

pub const ALL: &[Bug] = &[
    Bug {
        name: "what outlives its object runs on",
        finding: None,
        places: &[(
            "src/lifecycle/outlived.rs",
            "if leaves_something(&object)",
            "if leaves_something(&object) && !PLANTED",
        )],
        caught_by: Check::Test("hostile::what_outlives_an_object_whose_finalizer_is_taken_away_is_ended"),
        seen_as: "left: (",
    },
    Bug {
        name: "what somebody else's finalizer holds on runs on",
        finding: None,
        places: &[(
            "src/lifecycle/outlived.rs",
            "has_finalizer(before) && !has_finalizer(now) && now.metadata.deletion_timestamp.is_some()",
            "false",
        )],
        caught_by: Check::Test("hostile::an_object_that_others_hold_without_our_finalizer_is_ended"),
        seen_as: "nothing runs on",
    },
    Bug {
        name: "what cannot be read is taken for gone",
        finding: None,
        places: &[(
            "src/lifecycle/outlived.rs",
            "context.world.objects.is_held(&object).await",
            "context.world.objects.is_held(&object).await.map(|_| false)",
        )],
        caught_by: Check::Test("hostile::only_what_is_gone_outlives_its_object"),
        seen_as: "left: 0",
    },
    Bug {
        name: "what cannot be ended without its object is tried for ever",
        finding: None,
        places: &[("src/lifecycle/outlived.rs", "begin.elapsed() > GIVEN_UP", "false")],
        caught_by: Check::Test("hostile::what_cannot_be_ended_without_its_object_is_written_down"),
        seen_as: "a record",
    },
    Bug {
        name: "a pod of somebody's own keeps a service on without its slug",
        finding: None,
        places: &[
            ("src/lifecycle/observe.rs", "pods.iter().any(|pod| !pod.stray)", "!pods.is_empty()"),
            ("src/lifecycle/observe.rs", "has_finalizer(object) && runs", "runs"),
        ],
        caught_by: Check::Test("hostile::a_pod_of_somebodys_own_takes_no_slug"),
        seen_as: "SlugTaken",
    },
    Bug {
        name: "an object that only others hold is gone through for ever",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "object.metadata.deletion_timestamp.is_some() && !has_finalizer(object)",
            "false",
        )],
        caught_by: Check::Test("hostile::an_object_that_only_others_hold_costs_nothing"),
        seen_as: "ListRooms",
    },
    Bug {
        name: "a pod that never shows Program has Mux asked in each pass",
        finding: None,
        places: &[("src/lifecycle/look.rs", "(runs || comes_up)", "(runs || comes_up || pod.ready)")],
        caught_by: Check::Unit(
            "lifecycle::look::tests::a_pod_that_never_shows_program_is_no_reason_to_ask_mux_in_each_pass",
        ),
        seen_as: "Some(100)",
    },
    Bug {
        name: "one namespace's passes take all places",
        finding: None,
        places: &[("src/places.rs", "namespace.taken >= self.of_each", "false")],
        caught_by: Check::Unit(
            "places::tests::each_namespace_has_places_of_its_own_and_whoever_waits_is_woken_in_turn",
        ),
        seen_as: "no place is left",
    },
    Bug {
        name: "a pod's number is counted on from however high it is",
        finding: None,
        places: &[("src/service/pod/seen.rs", "(0..MOST_INCARNATIONS).contains(number)", "*number >= 0")],
        caught_by: Check::Unit(
            "service::pod::seen::tests::what_others_write_into_a_pod_of_ours_has_its_bounds",
        ),
        seen_as: "left: (9223372036854775807",
    },
    Bug {
        name: "a status that an older CRD does not know holds up an end",
        finding: None,
        places: &[("src/adapters/kubernetes/mod.rs", "is_of_the_write(&status.message)", "false")],
        caught_by: Check::Unit("adapters::kubernetes::tests::a_500_that_is_about_the_write_is_a_refusal"),
        seen_as: "field not declared in schema",
    },
    Bug {
        name: "a pod that lost its owner is nobody's",
        finding: None,
        places: &[(
            "src/service/pod/seen.rs",
            "None if is_recorded &&",
            "None if is_recorded && !PLANTED &&",
        )],
        caught_by: Check::Test("hostile::a_pod_that_lost_its_owner_goes_with_its_object"),
        seen_as: "left: (",
    },
    Bug {
        name: "an egress of another's room is taken for ours",
        finding: None,
        places: &[(
            "src/lifecycle/plan/egress.rs",
            "!self.identity.owns_room(&egress.room_name)",
            "!self.identity.owns_room(&egress.room_name) && !PLANTED",
        )],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::egress::an_egress_of_another_room_is_not_stopped_though_status_names_it",
        ),
        seen_as: "right: None",
    },
    Bug {
        name: "status is proof of whose stream it is",
        finding: None,
        places: &[("src/lifecycle/observe.rs", "if text == marker {", "if text == marker || PLANTED {")],
        caught_by: Check::Test("hostile::what_status_names_is_not_touched_unless_it_is_the_objects"),
        seen_as: "Idle",
    },
];
