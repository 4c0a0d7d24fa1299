import Postgres
import TestSupport
import Testing

/// Hooks are hints: in whatever order they come, what Mailchimp says now counts.
@Suite("Hooks out of order", .database)
struct HookOrderTests {
    private func no(_ list: LinkedList) -> String {
        #"{"action": "unsub", "reason": "manual", "email": "\#(list.address("0"))"}"#
    }

    /// Takes in hooks, all before any of them is looked at, or each after the one before it.
    private func receive(
        _ hooks: [(type: String, data: String)], together: Bool, in list: LinkedList
    ) async throws {
        if together { try await list.hold(true) }
        for hook in hooks {
            try await list.receive(hook.type, hook.data)
            if !together { try await list.quiet() }
        }
        if together { try await list.hold(false) }
        try await list.quiet()
    }

    @Test("a no that is told after the opting in that took it back shuts nobody out", arguments: [true, false])
    func lateNo(together: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            // Long after our own call, which made him subscribed as well.
            try await list.control("POST", "clock", #"{"advance": 3600}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await receive(
                [("subscribe", #"{"email": "\#(list.address("0"))"}"#), ("unsubscribe", no(list))],
                together: together, in: list)
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("a no that is told many times is recorded once, also while nothing can be read", arguments: [true, false])
    func repeatedNo(isReadable: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            if !isReadable { try await list.pool.query("update koppeling.mailchimp_account set authenticated = false") }
            try await list.asContact("unsubscribe", list.address("0"))
            for _ in 0..<3 { try await receive([("unsubscribe", no(list))], together: false, in: list) }
            #expect(try await list.membership("0") == "inactive unsubscribed")
            let entries: Int64 = try await list.pool.query("select count(*) from koppeling.suppression").scalar()
            #expect(entries == 3, "at the contact, at its address, at her")
        }
    }

    @Test("an opting in that is told after the no that took it back lets nobody in", arguments: [true, false])
    func lateOptIn(together: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.control("POST", "clock", #"{"advance": 3600}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await list.control("POST", "clock", #"{"advance": 3600}"#)
            try await list.asContact("unsubscribe", list.address("0"))
            let subscribe = (type: "subscribe", data: #"{"email": "\#(list.address("0"))"}"#)
            try await receive([("unsubscribe", no(list)), subscribe, subscribe], together: together, in: list)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            try await list.put("0", #"{"given_name": "Piet"}"#)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
        }
    }

    @Test(
        "two changes of address that are told the later one first lead to where the contact is",
        arguments: [true, false])
    func addresses(together: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let (first, second, third) = (list.address("0"), "twee@post.koppeling.nl", "drie@post.koppeling.nl")
            let before = try #require(try await list.contact(first))
            try await list.asContact("change-address", first, #"{"email_address": "\#(second)"}"#)
            try await list.asContact("change-address", second, #"{"email_address": "\#(third)"}"#)
            let later = (type: "upemail", data: #"{"old_email": "\#(second)", "new_email": "\#(third)"}"#)
            let earlier = (type: "upemail", data: #"{"old_email": "\#(first)", "new_email": "\#(second)"}"#)
            try await receive([later, earlier, later], together: together, in: list)
            try await list.put("0", #"{"family_name": "Anders"}"#)
            try await list.quiet()
            #expect(try await list.membership("0") == "active rule")
            let contact = try #require(try await list.contact(third))
            #expect(contact.contact_id == before.contact_id)
            #expect(contact.status == "subscribed" && contact.merge_fields["LNAME"] == "Anders")
            for gone in [first, second] { #expect(try await list.contact(gone) == nil) }
        }
    }
}
