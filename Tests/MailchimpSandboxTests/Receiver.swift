import HTTPTypes
import Hummingbird
import IO
import Logging
import NIOCore

@testable import MailchimpSandbox

/// A server that keeps what is posted to it.
final class Receiver: Sendable {
    private struct State {
        var statuses = [200]
        var forms: [[String: String]] = []
        var agents: Set<String> = []
        var bodies: [String] = []
        var signatures: [String?] = []
        var delay = Duration.zero
        var port = 0
    }

    private let state = Locked(State())
    private static let signature = HTTPField.Name("X-Mailchimp-Signature") ?? .authorization

    var url: String { "http://127.0.0.1:\(state.withLock { $0.port })/hook?secret=1" }
    var forms: [[String: String]] { state.withLock { $0.forms } }
    var agents: Set<String> { state.withLock { $0.agents } }
    /// The bodies as they came.
    var bodies: [String] { state.withLock { $0.bodies } }
    /// What each body was signed with.
    var signatures: [String?] { state.withLock { $0.signatures } }
    /// The types of the events in the order of their coming.
    var types: [String] { forms.map { $0["type"] ?? "" } }

    /// Lets the receiver think for so long before it answers.
    func delay(_ delay: Duration) { state.withLock { $0.delay = delay } }

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
                $0.bodies.append(body)
                $0.signatures.append(request.headers[Self.signature])
                if let agent = request.headers[.userAgent] { $0.agents.insert(agent) }
            }
            let delay = state.withLock { $0.delay }
            if delay > .zero { try? await Task.sleep(for: delay) }
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

extension Visit {
    /// Makes a webhook for every event to which the receiver listens.
    func subscribe(_ receiver: Receiver, api: Bool = false) async throws -> Reading {
        try await call(
            "POST", "/3.0/lists/\(list)/webhooks",
            [
                "url": .string(receiver.url),
                "events": [
                    "subscribe": true, "unsubscribe": true, "profile": true, "cleaned": true, "upemail": true,
                ],
                "sources": ["user": true, "admin": true, "api": .bool(api)],
            ])
    }
}
