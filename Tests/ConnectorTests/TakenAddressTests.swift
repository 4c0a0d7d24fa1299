import Connector
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// A contact left its address inside Mailchimp and another one came there: a page tells of the newer change first.
@Suite("A contact whose address another one took", .database)
struct TakenAddressTests {
    private let elsewhere = "elders@post.koppeling.nl"
    private let next = "nieuw@post.koppeling.nl"

    private func move(_ from: String, to address: String, _ list: LinkedList) async throws {
        try await list.asContact("change-address", from, #"{"email_address": "\#(address)"}"#)
        // A second is the shortest time that Mailchimp knows.
        try await list.control("POST", "clock", #"{"advance": 2}"#)
    }

    /// The contact of person 0 goes elsewhere, and another one comes to its address: that of person 1, or a new one.
    private func take(_ list: LinkedList, asNew isNew: Bool) async throws {
        try await move(list.address("0"), to: elsewhere, list)
        if isNew {
            try await list.asContact("resubscribe", list.address("0"), #"{"email_address": "\#(list.address("0"))"}"#)
        } else {
            try await move(list.address("1"), to: list.address("0"), list)
        }
    }

    /// A hook has the contact read that stands at the address now, and only that.
    private func hook(_ address: String, _ list: LinkedList) async throws {
        try await list.pool.query(
            """
            select koppeling.receive_webhook(i.id, i.webhook_secret_hash, jsonb_build_object(
                'type', 'profile', 'data', jsonb_build_object('email', \(address))))
            from koppeling.connector_instance i
            """)
        try await list.quiet()
    }

    /// The addresses of the contacts that persons claim, by the persons' ids.
    private func claimed(_ list: LinkedList) async throws -> [String] {
        try await list.pool.query(
            """
            select p.external_id || ' ' || m.address as claimed
            from koppeling.claim c
            join koppeling.person p on p.id = c.person_id
            join koppeling.audience_member m on m.id = c.member_id
            where m.contact_id is not null
            order by 1
            """
        ).map { try $0.decode("claimed") }
    }

    @Test(
        "keeps its claim, and its no binds the person, whichever of them is read first",
        arguments: [(false, false), (false, true), (true, false), (true, true)])
    func keepsItsClaim(isNew: Bool, isReadFirst: Bool) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await take(list, asNew: isNew)
            if isReadFirst { try await hook(list.address("0"), list) }
            try await list.pull()
            #expect(try await claimed(list) == ["0 \(elsewhere)", "1 \(list.address(isNew ? "1" : "0"))"])
            try await list.asContact("unsubscribe", elsewhere)
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("1") == "active rule")
            try await list.put("0", #"{"emails": {"zakelijk": "\#(next)"}}"#)
            try await list.quiet()
            #expect(try await list.status(next) == nil)
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("keeps its claim also when the two swapped their addresses")
    func swapped() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await take(list, asNew: false)
            try await move(elsewhere, to: list.address("1"), list)
            try await list.pull()
            #expect(try await claimed(list) == ["0 \(list.address("1"))", "1 \(list.address("0"))"])
            let known: Int64 = try await list.pool.query("select count(*) from koppeling.audience_member").scalar()
            #expect(known == 2)
        }
    }

    @Test(
        "and that was deleted for good leaves its claim to who signed up there since, whichever is read first",
        arguments: [false, true])
    func deleted(isReadFirst: Bool) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asAdmin("delete", list.address("0"))
            try await list.asContact("resubscribe", list.address("0"), #"{"email_address": "\#(list.address("0"))"}"#)
            if isReadFirst { try await hook(list.address("0"), list) }
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await claimed(list) == ["0 \(list.address("0"))", "1 \(list.address("1"))"])
            let rows = try await list.pool.query("select ownership from koppeling.audience_member order by id desc")
            #expect(try rows.map { try $0.decode(0, as: String.self) }.sorted() == ["adopted", "created"])
        }
    }

    /// Reads the list although the workers' actions are held.
    private func pullBesideTheWorkers(_ list: LinkedList) async throws {
        try await list.instances.withPermits { permits in
            let reader = ConnectorInstance(
                id: list.instance.id, pool: list.pool, accounts: list.accounts, permits: permits, webhooks: nil,
                logger: Instances.silence)
            try await reader.pull(full: false)
        }
    }

    @Test("is deleted for good all the same when its person was erased")
    func erased() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.hold(true)
            let erasures = Erasures(pool: list.pool, vault: list.instances.vault)
            _ = try await erasures.erase(source: "test", id: "0", actor: "test")
            try await take(list, asNew: false)
            try await pullBesideTheWorkers(list)
            let waiting: Int64 = try await list.pool.query(
                "select count(*) from koppeling.audience_member where erasure_id is not null"
            ).scalar()
            #expect(waiting == 1)
            try await list.hold(false)
            try await list.quiet()
            #expect(try await list.status(elsewhere) == nil)
            #expect(try await list.status(list.address("0")) == "subscribed")
            #expect(try await claimed(list) == ["1 \(list.address("0"))"])
        }
    }

    @Test("is not deleted for somebody erased who never was there, whose erasure ends with that")
    func erasedBefore() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.put("5")
            try await list.staged(1)
            let erasures = Erasures(pool: list.pool, vault: list.instances.vault)
            _ = try await erasures.erase(source: "test", id: "5", actor: "test")
            try await move(list.address("1"), to: list.address("5"), list)
            try await pullBesideTheWorkers(list)
            try await list.hold(false)
            try await list.quiet()
            #expect(try await list.status(list.address("5")) == "subscribed")
            #expect(try await claimed(list) == ["0 \(list.address("0"))", "1 \(list.address("5"))"])
            let waiting: Int64 = try await list.pool.query("select contacts_waiting from koppeling.erasures").scalar()
            #expect(waiting == 0)
        }
    }
}
