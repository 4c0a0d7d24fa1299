import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What ends, and what somebody is told, when a contact signs up by himself after he was out.
@Suite("A contact who signs up by himself", .database)
struct SignUpTests {
    private let elsewhere = "elders@post.koppeling.nl"

    /// Some time later he signs up, and Mailchimp is read.
    private func signUp(_ address: String, _ list: LinkedList, after seconds: Int = 600) async throws {
        try await list.control("POST", "clock", #"{"advance": \#(seconds)}"#)
        try await list.asContact("resubscribe", address, #"{"email_address": "\#(address)"}"#)
        try await list.pull()
    }

    private func tasks(_ list: LinkedList) async throws -> Int64 {
        try await list.pool.query(
            "select count(*) from koppeling.task where kind = 'resubscribed' and done_at is null"
        ).scalar()
    }

    private func open(_ reason: String, _ list: LinkedList) async throws -> Int64 {
        try await list.pool.query(
            "select count(*) from koppeling.open_suppression where reason = \(reason)"
        ).scalar()
    }

    /// The contact of person 0 is deleted for good in Mailchimp, and that is found.
    private func deleteForGood(_ list: LinkedList) async throws {
        try await list.quiet()
        try await list.asAdmin("delete", list.address("0"))
        try await list.pull(full: true)
        #expect(try await list.membership("0") == "inactive forgotten")
    }

    @Test("after he was deleted for good is forgotten no more, and so is whoever that bound")
    func afterDeletion() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await deleteForGood(list)
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.quiet()
            #expect(try await list.membership("8") == "inactive forgotten")
            try await list.put("8", #"{"emails": {"zakelijk": "\#(elsewhere)"}}"#)
            try await list.quiet()
            #expect(try await list.contact(elsewhere) == nil)

            try await signUp(list.address("0"), list)
            #expect(try await open("forgotten", list) == 0)
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.membership("8") == "active rule")
            #expect(try await tasks(list) == 0)
            let owner: String = try await list.pool.query(
                "select ownership from koppeling.audience_member where address_key = \(list.address("0"))"
            ).scalar()
            #expect(owner == "adopted")
        }
    }

    @Test("about when the deletion was found is forgotten still: that may have been before it")
    func aboutThen() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await deleteForGood(list)
            try await signUp(list.address("0"), list, after: 2)
            #expect(try await list.membership("0") == "inactive forgotten", "the clocks may differ by more than that")
            #expect(try await tasks(list) == 1)
        }
    }

    @Test("at an address of somebody erased ends nothing")
    func erased() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.pool.query(
                """
                select koppeling.open_suppression(i.target_group_id, 'forgotten', \(list.address("0")), null, '{}',
                    'user', koppeling.now(), '{"because": "erased"}')
                from koppeling.connector_instance i
                """)
            try await list.quiet()
            try await list.asAdmin("archive", list.address("0"))
            try await list.pull()
            try await signUp(list.address("0"), list)
            #expect(try await list.status(list.address("0")) == "subscribed")
            #expect(try await list.membership("0") == "inactive forgotten")
            #expect(try await tasks(list) == 0, "nobody can settle it")
            let refused = await #expect(throws: PostgresError.self) {
                try await list.pool.query("select koppeling.readmit_person('test', '0', \(list.instance.targetGroup))")
            }
            #expect(refused?.message.contains("somebody who was erased") == true)
            #expect(refused?.hint?.contains("never ends") == true && refused?.hint?.contains("another address") == true)
        }
    }

    @Test("at the address that he moved to inside Mailchimp is told of: the person file still has the old one")
    func afterMove() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("change-address", list.address("0"), #"{"email_address": "\#(elsewhere)"}"#)
            try await list.pull()
            try await list.asContact("unsubscribe", elsewhere)
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await signUp(elsewhere, list)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await tasks(list) == 1)
        }
    }

    @Test("by double opt-in is told of, whether or not a reading fell between asking and confirming")
    func doubleOptIn() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.unrecorded("PATCH", list.address("0"), #"{"status": "pending"}"#)
            try await list.pull()
            #expect(try await tasks(list) == 0)
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await tasks(list) == 1)
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("at an address with a no that was carried here is told of when he is first seen, if that was after the no")
    func firstSeen() async throws {
        try await LinkedList.run { list in
            try await list.quiet()
            for id in ["5", "6"] {
                let ago = id == "5" ? "1 year" : "-1 year"
                try await list.pool.query(
                    """
                    select koppeling.open_suppression(i.target_group_id, 'unsubscribed', \(list.address(id)), null,
                        '{}', 'mailchimp', koppeling.now() - \(ago)::text::interval, '{"carried": true}')
                    from koppeling.connector_instance i
                    """)
                try await list.put(id)
                try await list.quiet()
                #expect(try await list.contact(list.address(id)) == nil)
            }
            try await signUp(list.address("5"), list)
            try await signUp(list.address("6"), list)
            #expect(try await tasks(list) == 1)
        }
    }
}
