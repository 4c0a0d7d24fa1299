import Hummingbird
import IO
import Logging
import NIOCore
import TestSupport
import Testing

@testable import MailchimpSandbox

/// Webhooks, delivered to a small server.
@Suite struct WebhookTests {
    private let everything: JSON = [
        "subscribe": true, "unsubscribe": true, "profile": true, "cleaned": true, "upemail": true,
    ]

    private func subscribe(_ visit: Visit, _ receiver: Receiver, api: Bool = false) async throws -> Reading {
        try await visit.call(
            "POST", "/3.0/lists/\(visit.list)/webhooks",
            [
                "url": .string(receiver.url), "events": everything,
                "sources": ["user": true, "admin": true, "api": .bool(api)],
            ])
    }

    @Test("a receiver must answer a GET, and one address serves a list once")
    func validation() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                receiver.answer(with: 404)
                #expect(try await subscribe(visit, receiver).status == 400)
                receiver.answer(with: 200)
                let made = try await subscribe(visit, receiver)
                #expect(made.status == 200)
                #expect(made["events"]["upemail"] == true)
                #expect(made["sources"]["api"] == false)
                #expect(try await subscribe(visit, receiver).status == 400)
                let all = try await visit.call("GET", "/3.0/lists/\(visit.list)/webhooks")
                #expect(all["total_items"] == 1)
                let id = try #require(made["id"].string)
                #expect(try await visit.call("DELETE", "/3.0/lists/\(visit.list)/webhooks/\(id)").status == 204)
                #expect(try await visit.call("DELETE", "/3.0/lists/\(visit.list)/webhooks/\(id)").status == 404)
            }
        }
    }

    @Test("what a contact does arrives as a form with bracketed names; what a call does arrives only when asked for")
    func events() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await subscribe(visit, receiver)
                try await visit.make("ann@people.test", .subscribed)
                try await visit.control(
                    "POST", "\(visit.door)/members/ann@people.test/contact/change-address",
                    ["email_address": "bee@people.test"])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/contact/unsubscribe", [:])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/contact/resubscribe", [:])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/admin/archive", [:])
                try await eventually("six events") { receiver.forms.count == 6 }
                let forms = receiver.forms
                #expect(
                    forms.compactMap { $0["type"] }.sorted() == [
                        "profile", "profile", "subscribe", "unsubscribe", "unsubscribe", "upemail",
                    ])
                let move = try #require(forms.first { $0["type"] == "upemail" })
                #expect(move["data[old_email]"] == "ann@people.test")
                #expect(move["data[new_email]"] == "bee@people.test")
                #expect(move["data[email]"] == nil)
                let opt = try #require(forms.first { $0["data[action]"] == "unsub" })
                #expect(opt["data[reason]"] == "manual")
                #expect(opt["data[merges][EMAIL]"] == "bee@people.test")
                #expect(opt["data[list_id]"] == visit.list)
                #expect(forms.contains { $0["data[action]"] == "delete" })
                #expect(receiver.agents == ["MailChimp.com"])
            }
        }
    }

    @Test("a delivery that fails is repeated, and 410 switches the webhook off")
    func retries() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await subscribe(visit, receiver)
                try await visit.make("ann@people.test", .subscribed)
                receiver.answer(with: 500, then: 200)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/unsubscribe", [:])
                try await eventually("the second try") { receiver.forms.count == 2 }
                receiver.answer(with: 410)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/admin/clean", [:])
                try await eventually("the webhook is off") {
                    let list = try await visit.control("GET", visit.door)
                    return list["webhooks"]?.array?.first?["disabled"] == "it answered 410"
                }
                #expect(receiver.forms.last?["type"] == "cleaned")
            }
        }
    }

    @Test("webhooks can be lost and doubled on purpose, and what calls did is told when asked for")
    func dropped() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await subscribe(visit, receiver, api: true)
                try await visit.control("PUT", "/sandbox/webhooks", ["drop_share": 1])
                try await visit.make("ann@people.test", .subscribed)
                let state = try await visit.control("PUT", "/sandbox/webhooks", ["double_share": 1])
                #expect(state["dropped"] == 2)
                try await visit.call("PATCH", visit.member("ann@people.test"), ["merge_fields": ["FNAME": "Ann"]])
                try await eventually("the profile, twice") { receiver.forms.count == 2 }
                #expect(receiver.forms.allSatisfy { $0["data[merges][FNAME]"] == "Ann" })
            }
        }
    }
}

/// A server that keeps what is posted to it.
final class Receiver: Sendable {
    private struct State {
        var statuses = [200]
        var forms: [[String: String]] = []
        var agents: Set<String> = []
        var port = 0
    }

    private let state = Locked(State())

    var url: String { "http://127.0.0.1:\(state.withLock { $0.port })/hook?secret=1" }
    var forms: [[String: String]] { state.withLock { $0.forms } }
    var agents: Set<String> { state.withLock { $0.agents } }

    /// The answers to come; the last one stays.
    func answer(with first: Int, then next: Int? = nil) {
        state.withLock { $0.statuses = [first] + (next.map { [$0] } ?? []) }
    }

    fileprivate func serve(listening: @escaping @Sendable () -> Void) async throws {
        let router = Router()
        router.get("hook") { [self] _, _ in HTTPResponse.Status(code: status()) }
        router.post("hook") { [self] request, _ in
            let body = String(buffer: try await request.body.collect(upTo: 1 << 20))
            var form: [String: String] = [:]
            for pair in body.split(separator: "&") {
                let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
                form[PercentCoding.decode(parts[0], plusIsSpace: true)] = PercentCoding.decode(
                    parts[1], plusIsSpace: true)
            }
            state.withLock {
                $0.forms.append(form)
                if let agent = request.headers[.userAgent] { $0.agents.insert(agent) }
            }
            return HTTPResponse.Status(code: status())
        }
        var logger = Logger(label: "receiver")
        logger.logLevel = .critical
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { [self] channel in
                state.withLock { $0.port = channel.localAddress?.port ?? 0 }
                listening()
            }, logger: logger)
        try await application.run()
    }

    private func status() -> Int {
        state.withLock { $0.statuses.count > 1 ? $0.statuses.removeFirst() : $0.statuses[0] }
    }
}

/// Runs a test with a receiver of webhooks beside it.
func withReceiver(_ body: (Receiver) async throws -> Void) async throws {
    let receiver = Receiver()
    let (listening, continuation) = AsyncStream<Void>.makeStream()
    let server = Task { try? await receiver.serve { continuation.yield() } }
    defer { server.cancel() }
    for await _ in listening { break }
    try await body(receiver)
}

extension JSON {
    /// A part of an object; nothing when it is not there.
    fileprivate subscript(key: String) -> JSON { object?[key] ?? .null }
}
