import Postgres
import TestSupport
import Testing

@testable import Connector

/// A contact whose address the person file does not have: it changed it inside Mailchimp, and then said no there.
@Suite("A contact that moved inside Mailchimp and says no there", .database)
struct MovedContactTests {
    private let elsewhere = "elders@post.koppeling.nl"
    private let next = "nieuw@post.koppeling.nl"

    /// The contact of the only person moves; she left the group before, and her archive waits for somebody.
    private func leaveAndMove(_ list: LinkedList) async throws {
        try await list.instances.setAutomatic(false, template: "delete", instance: list.instance.name)
        try await list.quiet()
        try await list.put("0", isMember: false)
        try await list.quiet()
        try await list.asContact("change-address", list.address("0"), #"{"email_address": "\#(elsewhere)"}"#)
        try await list.pull()
        #expect(try await list.status(elsewhere) == "subscribed")
    }

    private func sayNo(_ list: LinkedList) async throws {
        try await list.asContact("unsubscribe", elsewhere)
        try await list.pull()
    }

    /// Whatever address the person file has next, nobody is created at it.
    private func expectBarred(_ id: String, _ list: LinkedList) async throws {
        try await list.quiet()
        #expect(try await list.membership(id) == "inactive unsubscribed")
        try await list.put(id, #"{"emails": {"zakelijk": "\#(next)"}}"#)
        try await list.quiet()
        #expect(try await list.membership(id) == "inactive unsubscribed")
        #expect(try await list.status(next) == nil)
    }

    @Test("binds who holds the address that it is known by, though nobody claims it just then")
    func unclaimed() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await leaveAndMove(list)
            try await sayNo(list)
            try await list.put("0")
            try await expectBarred("0", list)
        }
    }

    @Test("binds whoever comes to claim it later")
    func claimedLater() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await leaveAndMove(list)
            try await list.put("0", isMember: false, #"{"emails": {"zakelijk": "weg@post.koppeling.nl"}}"#)
            try await sayNo(list)
            try await list.put("5", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await expectBarred("5", list)
        }
    }

    @Test("is told, and binds who claims it, when a user records the no of whoever holds its address")
    func toldHere() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("change-address", list.address("0"), #"{"email_address": "\#(elsewhere)"}"#)
            try await list.pull()
            try await list.put("7", isMember: false, #"{"emails": {"zakelijk": "\#(elsewhere)"}}"#)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '7')")
            try await list.quiet()
            #expect(try await list.status(elsewhere) == "unsubscribed")
            try await expectBarred("0", list)
        }
    }
}
