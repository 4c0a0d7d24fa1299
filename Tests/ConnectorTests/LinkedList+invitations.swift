import Connector
import Postgres
import TargetGroups
import TestSupport
import Testing

extension LinkedList {
    private struct Audit: Decodable {
        struct Consent: Decodable {
            var subscribed_against_known_no: Int
            var subscribed_without_read: Int
        }
        struct Nos: Decodable { var asked_again: Int }
        var consent: Consent
        var subscribed_against_own_no: Nos
    }

    private var persons: Persons { Persons(pool: pool) }

    func sayNo(_ id: String) async throws {
        try await quiet()
        if try await status(address(id)) == "subscribed" {
            try await asContact("unsubscribe", address(id))
        } else {
            try await pool.query("select koppeling.unsubscribe_person('test', \(id))")
        }
        try await pull()
        // A second is the shortest time that Mailchimp knows.
        try await control("POST", "clock", #"{"advance": 2}"#)
    }

    func requestInvitation(_ id: String) async throws {
        try await persons.invite(source: "test", id: id, actor: "anna")
    }

    func invite(_ id: String) async throws {
        try await requestInvitation(id)
        try await quiet()
        try await control("POST", "clock", #"{"advance": 2}"#)
    }

    /// What a request is refused with.
    func refusal(_ id: String) async throws -> String {
        do {
            try await persons.invite(source: "test", id: id, group: instance.targetGroup, actor: "anna")
            return "it was not refused"
        } catch {
            return "\(error)"
        }
    }

    func invitation() async throws -> String? {
        try await pool.query("select state from koppeling.invitations order by id desc limit 1").first?.decode(0)
    }

    func waitsFor(_ id: String) async throws -> Int64? {
        try await pool.query(
            """
            select (koppeling.why('test', \(id), \(instance.targetGroup)) #>> '{delivery,invitation,waits_for}')::bigint
            """
        ).scalar()
    }

    /// How often Mailchimp asked somebody who had said no; nobody was subscribed over one.
    func asked() async throws -> Int {
        let audit = try await control("GET", "audit").decode(Audit.self)
        #expect(audit.consent.subscribed_against_known_no == 0 && audit.consent.subscribed_without_read == 0)
        return audit.subscribed_against_own_no.asked_again
    }
}
