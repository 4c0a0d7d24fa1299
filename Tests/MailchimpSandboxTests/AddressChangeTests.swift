import Testing

@testable import MailchimpSandbox

/// A contact gets another address.
@Suite struct AddressChangeTests {
    @Test(
        "a move keeps contact id, web id and fields, changes both hashes and leaves nothing behind",
        arguments: ["PUT", "PATCH"])
    func move(method: String) async throws {
        try await visit { visit in
            let before = try await visit.call(
                "POST", visit.members,
                ["email_address": "old@people.test", "status": "subscribed", "merge_fields": ["FNAME": "Ann"]])
            let after = try await visit.call(
                method, visit.member("old@people.test"), ["email_address": "new@people.test"])
            #expect(after.status == 200)
            #expect(after["id"] == .string(HexID(address: "new@people.test").hex))
            #expect(after["contact_id"] == before["contact_id"])
            #expect(after["web_id"] == before["web_id"])
            #expect(after["unique_email_id"] != before["unique_email_id"])
            #expect(after["merge_fields"] == before["merge_fields"])
            #expect(after["timestamp_opt"] == before["timestamp_opt"])
            #expect(try await visit.call("GET", visit.member("old@people.test")).status == 404)
            let contact = try #require(before["contact_id"].string)
            #expect(try await visit.call("GET", "\(visit.members)/\(contact)")["email_address"] == "new@people.test")
            #expect(try await visit.call("GET", "\(visit.members)?fields=total_items")["total_items"] == 1)
        }
    }

    @Test("a change of case is a change of text only")
    func caseOnly() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .unsubscribedByContact)
            let reading = try await visit.call(
                "PATCH", visit.member("ann@people.test"), ["email_address": "Ann@People.test"])
            #expect(reading.status == 200)
            #expect(reading["email_address"] == "Ann@People.test")
        }
    }

    @Test(
        "who is not subscribed cannot move",
        arguments: [Visit.State.cleaned, .unsubscribedByAPI, .unsubscribedByContact])
    func notSubscribed(state: Visit.State) async throws {
        try await visit { visit in
            try await visit.make("old@people.test", state)
            let reading = try await visit.call(
                "PATCH", visit.member("old@people.test"), ["email_address": "new@people.test"])
            #expect(reading.title == "Invalid Resource")
            let error = try #require(reading["errors"].array?.first)
            #expect(error["field"] == "email address")
            #expect(error["message"]?.string?.contains("You can only update email addresses") == true)
        }
    }

    @Test("an address that another contact has, in whatever state, cannot be taken")
    func taken() async throws {
        try await visit { visit in
            for (state, title) in [
                (Visit.State.subscribed, "Subscribed"), (.archived, "Archived"), (.cleaned, "Cleaned"),
            ] {
                let address = "\(state.rawValue)@people.test"
                try await visit.make(address, state)
                try await visit.make("ann-\(state.rawValue)@people.test", .subscribed)
                let reading = try await visit.call(
                    "PATCH", visit.member("ann-\(state.rawValue)@people.test"), ["email_address": .string(address)])
                let message = "\"\(address)\" is already in this list with a status of \"\(title)\"."
                #expect(reading["errors"].array?.first?["message"] == .string(message))
            }
        }
    }

    @Test("a move to a forgotten address is refused")
    func forgotten() async throws {
        try await visit { visit in
            try await visit.make("gone@people.test", .forgotten)
            try await visit.make("ann@people.test", .subscribed)
            let reading = try await visit.call(
                "PATCH", visit.member("ann@people.test"), ["email_address": "gone@people.test"])
            #expect(reading.title == "Forgotten Email Not Subscribed")
        }
    }
}
