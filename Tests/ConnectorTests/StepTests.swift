import FoundationEssentials
import Postgres
import Testing

@testable import Connector

/// The step is a pure function: each test names a state and expects what is to be done about it.
@Suite("The step")
struct StepTests {
    private func state(_ change: (inout MemberState) -> Void) -> MemberState {
        var state = MemberState(id: 1, address: "jan@example.nl")
        state.wantedAddress = "jan@example.nl"
        state.wantedKey = "jan@example.nl"
        state.fileKey = "jan@example.nl"
        state.wantedFields = #"{"FNAME": "Jan"}"#
        state.claims = 1
        change(&state)
        return state
    }

    @Test("reads an address that was never looked up, and creates it when it is absent")
    func create() {
        let unknown = state { _ in }
        #expect(unknown.step(fresh: false) == .read)
        #expect(unknown.step(fresh: true) == .create)
        #expect(state { $0.status = .absent }.step(fresh: true) == .create)
    }

    @Test(
        "adopts a subscribed contact that somebody else put there", arguments: [MemberState.Ownership.none, .foreign])
    func adopt(ownership: MemberState.Ownership) {
        let known = state {
            $0.status = .subscribed
            $0.ownership = ownership
        }
        #expect(known.step(fresh: false) == .adopt)
    }

    @Test("updates only when the merge fields differ")
    func update() {
        let ours = state {
            $0.status = .subscribed
            $0.ownership = .created
            $0.appliedFields = #"{"FNAME": "Piet"}"#
        }
        #expect(ours.step(fresh: false) == .update)
        var same = ours
        same.appliedFields = same.wantedFields
        #expect(same.step(fresh: false) == .nothing(note: nil))
    }

    @Test(
        "reads again whenever an intent was left behind",
        arguments: [
            MemberState.Intent.creating, .updating, .moving, .archiving, .unsubscribing, .erasing,
        ])
    func intent(intent: MemberState.Intent) {
        let left = state {
            $0.status = .subscribed
            $0.ownership = .created
            $0.intent = intent
        }
        #expect(left.step(fresh: false) == .read)
        #expect(left.step(fresh: true) != .read)
    }

    @Test("moves on a read just made, and never to an address that somebody's no binds")
    func move() {
        let moving = state {
            $0.status = .subscribed
            $0.ownership = .created
            $0.wantedKey = "jan@new.example.nl"
            $0.movingTo = "jan@new.example.nl"
        }
        #expect(moving.step(fresh: false) == .read)
        #expect(moving.step(fresh: true) == .move)
        var bound = moving
        bound.targetReasons = ["unsubscribed"]
        #expect(bound.step(fresh: true) == .replace)
        var unsubscribed = moving
        unsubscribed.status = .unsubscribed
        #expect(unsubscribed.step(fresh: true) == .nothing(note: "unsubscribed"))
        var archived = moving
        archived.status = .archived
        #expect(archived.step(fresh: true) == .replace)
    }

    @Test("archives only a subscribed contact of ours that nobody claims, on a read just made")
    func archive() {
        let left = state {
            $0.claims = 0
            $0.status = .subscribed
            $0.ownership = .created
        }
        #expect(left.step(fresh: false) == .read)
        #expect(left.step(fresh: true) == .archive)
        for change in [
            { $0.ownership = .foreign }, { $0.status = .unsubscribed }, { $0.status = .cleaned },
            { $0.status = .pending },
            {
                $0.ownership = .adopted
                $0.keepsAdopted = true
            },
        ] as [(inout MemberState) -> Void] {
            var other = left
            change(&other)
            #expect(other.step(fresh: true) == .nothing(note: nil))
        }
    }

    @Test("takes an archived contact back only if it was archived by us or a user took the removal back")
    func unarchive() {
        let archived = state { $0.status = .archived }
        #expect(archived.step(fresh: true) == .removedInMailchimp)
        var ours = archived
        ours.archivedByUs = true
        #expect(ours.step(fresh: false) == .read)
        #expect(ours.step(fresh: true) == .unarchive)
        var reactivated = archived
        reactivated.reactivated = true
        #expect(reactivated.step(fresh: true) == .unarchive)
    }

    @Test(
        "writes nothing for anybody a no binds, whatever else is wanted",
        arguments: [
            "complained", "unsubscribed", "cleaned", "forgotten", "removedInMailchimp",
        ])
    func suppressed(reason: String) {
        for status in [nil, .absent, .subscribed, .archived, .unsubscribed] as [MemberState.Status?] {
            let bound = state {
                $0.status = status
                $0.archivedByUs = status == .archived
                $0.reasons = [reason]
            }
            #expect(bound.step(fresh: true) == .nothing(note: reason))
        }
    }

    @Test("carries a person's own no to Mailchimp, also to a contact that is not ours")
    func unsubscribe() {
        let said = state {
            $0.claims = 0
            $0.status = .subscribed
            $0.ownership = .foreign
            $0.unsubscribeHere = true
            $0.reasons = ["unsubscribed"]
        }
        #expect(said.step(fresh: false) == .unsubscribe)
        var gone = said
        gone.status = .archived
        #expect(gone.step(fresh: true) == .nothing(note: nil))
    }

    @Test("invites on a read just made, whoever claims; never before a person's own no was carried to Mailchimp")
    func invite() {
        let asked = state {
            $0.claims = 0
            $0.status = .unsubscribed
            $0.reasons = ["unsubscribed"]
            $0.invitedAt = .distantPast
        }
        #expect(asked.step(fresh: false) == .read)
        #expect(asked.step(fresh: true) == .invite)
        var claimed = asked
        claimed.claims = 1
        #expect(claimed.step(fresh: true) == .invite)
        var told = asked
        told.status = .subscribed
        told.unsubscribeHere = true
        #expect(told.step(fresh: true) == .unsubscribe)
        var erased = asked
        erased.isErased = true
        #expect(erased.step(fresh: true) == .erase)
        #expect(Step.invite.isHeldByPause)
    }

    @Test("never subscribes anybody who is not claimed or who is bound, over every state there is")
    func neverSubscribes() {
        let subscribing: [Step] = [.create, .unarchive, .move, .adopt, .update]
        for status in [nil, .absent, .subscribed, .unsubscribed, .cleaned, .pending, .transactional, .archived]
            as [MemberState.Status?]
        {
            for ownership in [MemberState.Ownership.none, .created, .adopted, .foreign] {
                for fresh in [true, false] {
                    for (claims, reasons) in [(0, []), (0, ["unsubscribed"]), (1, ["complained"]), (2, ["forgotten"])] {
                        let state = state {
                            $0.status = status
                            $0.ownership = ownership
                            $0.claims = claims
                            $0.reasons = reasons
                            $0.archivedByUs = true
                            $0.reactivated = true
                            $0.movingTo = "jan@new.example.nl"
                            $0.wantedKey = "jan@new.example.nl"
                        }
                        #expect(!subscribing.contains(state.step(fresh: fresh)))
                    }
                }
            }
        }
    }
}
