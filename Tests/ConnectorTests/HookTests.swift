import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Hooks tell what no reading shows: that a contact complained.
@Suite("A hook that tells of a complaint", .database)
struct HookTests {
    /// Has a hook come in as Mailchimp delivers it, and what follows happen.
    private func receive(_ type: String, _ data: JSONText, about id: String, _ list: LinkedList) async throws {
        try await list.pool.query(
            """
            select koppeling.receive_webhook(i.id, i.webhook_secret_hash, jsonb_build_object(
                'type', \(type), 'data', jsonb_build_object('email', \(list.address(id))) || \(data)))
            from koppeling.connector_instance i
            """)
        try await list.quiet()
    }

    @Test(
        "is believed: an unsubscribe or a bounce because of abuse is a complaint, a hard bounce is none",
        arguments: [
            ("unsubscribe", #"{"action": "unsub", "reason": "abuse"}"#, "complained"),
            ("cleaned", #"{"reason": "abuse"}"#, "complained"), ("cleaned", #"{"reason": "hard"}"#, "cleaned"),
        ])
    func believed(type: String, data: String, reason: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            if type == "unsubscribe" {
                try await list.asContact("complain", list.address("0"))
            } else {
                try await list.asAdmin("clean", list.address("0"))
            }
            try await receive(type, JSONText(data), about: "0", list)
            #expect(try await list.membership("0") == "inactive \(reason)")
            // A complaint goes with the person; a bounce stays with the address.
            try await list.put("0", #"{"emails": {"zakelijk": "elders@post.koppeling.nl"}}"#)
            try await list.quiet()
            let created = try await list.contact("elders@post.koppeling.nl") != nil
            #expect(created == (reason == "cleaned"))
        }
    }

    @Test(
        "that comes after our own call subscribed him is restored as a complaint",
        arguments: [
            ("unsubscribe", #"{"action": "unsub", "reason": "abuse"}"#), ("cleaned", #"{"reason": "abuse"}"#),
        ])
    func restored(type: String, data: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await receive(type, JSONText(data), about: "0", list)
            #expect(try await list.membership("0") == "inactive complained")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            let reason: String = try await list.pool.query(
                "select reason from koppeling.restored_nos where found_in = 'hook' and restored_at is not null"
            ).scalar()
            #expect(reason == "complained")
        }
    }
}
