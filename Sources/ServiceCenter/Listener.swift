import Hummingbird
import IO
import Logging
import NIOCore

/// An HTTP server on one address, and the port that it found.
struct Listener: Sendable {
    let host: String
    let port: Int
    /// The setting that names the address, for who has to choose another.
    let setting: String
    let logger: Logger
    let bound = BoundPort()

    /// Serves until the task is cancelled or the process is told to stop gracefully.
    func serve(_ router: Router<BasicRequestContext>) async throws {
        defer { bound.close() }
        var quiet = logger
        // The framework tells about every connection; what happens to requests is told by RequestObserver.
        quiet.logLevel = max(logger.logLevel, .notice)
        let application = Application(
            router: router,
            configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: "koppeling"),
            onServerRunning: { [bound, logger, setting] channel in
                guard let port = channel.localAddress?.port else { return }
                bound.open(port)
                logger.info("Listens.", metadata: ["port": "\(port)", "setting": "\(setting)"])
            },
            logger: quiet)
        do {
            try await application.run()
        } catch let error as IOError {
            throw ServiceCenterError(
                .listen, "Cannot listen on \(host):\(port): \(error). Choose another with \(setting).")
        }
    }
}

/// The port of a server that is starting, for whoever waits for it.
final class BoundPort: Sendable {
    private let known = Locked<Int?>(nil)
    private let stream: AsyncStream<Int>
    private let continuation: AsyncStream<Int>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func open(_ port: Int) {
        known.withLock { $0 = port }
        continuation.yield(port)
    }

    /// Nobody waits any longer for a server that has ended.
    func close() {
        continuation.finish()
    }

    func value() async throws -> Int {
        if let port = known.withLock({ $0 }) { return port }
        for await port in stream { return port }
        throw CancellationError()
    }
}
