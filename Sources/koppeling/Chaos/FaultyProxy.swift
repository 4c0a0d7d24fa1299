import NIOCore
import NIOPosix

/// A way to the database that fails as networks do: it stalls, it resets connections, and it leaves them half-open.
///
/// It listens on a TCP port and passes everything on to the database's unix socket.
struct FaultyProxy: Sendable {
    /// What is done to a connection.
    enum Harm: Sendable {
        /// Nothing is passed on for a while, and nothing is lost.
        case stall(Duration)
        /// Both sides are told that it is over.
        case reset
        /// Everything is accepted and nothing passed on; neither side is told, also not of the other's end.
        case halfOpen
    }

    /// The port it listens on.
    let port: Int
    private let group: MultiThreadedEventLoopGroup
    private let listener: any Channel
    private let lines: Lines

    /// Starts to listen on a free port.
    static func start(to socket: String) async throws -> FaultyProxy {
        // A single event loop: everything about the lines happens on it.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let lines = Lines(loop: group.next())
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .childChannelInitializer { client in lines.connect(client, to: socket) }
            .bind(host: "127.0.0.1", port: 0).get()
        guard let port = listener.localAddress?.port else { throw Failure("the proxy has no port") }
        return FaultyProxy(port: port, group: group, listener: listener, lines: lines)
    }

    /// Ends every connection, and itself.
    func stop() async {
        try? await listener.close()
        try? await group.shutdownGracefully()
    }

    /// Does harm to some of the open connections, chosen at random; says to how many.
    func harm(_ harm: Harm, most: Int) async throws -> Int {
        try await lines.harm(harm, most: most).get()
    }
}

/// The open connections.
// Sendable because the lines are touched on the one event loop only.
private final class Lines: @unchecked Sendable {
    private let loop: any EventLoop
    private var open: [ObjectIdentifier: Line] = [:]

    init(loop: any EventLoop) {
        self.loop = loop
    }

    func connect(_ client: any Channel, to socket: String) -> EventLoopFuture<Void> {
        ClientBootstrap(group: loop).connect(unixDomainSocketPath: socket).flatMapThrowing { server in
            let line = Line(client: client, server: server)
            let name = ObjectIdentifier(line)
            self.open[name] = line
            try client.pipeline.syncOperations.addHandler(Leg(line, client))
            try server.pipeline.syncOperations.addHandler(Leg(line, server))
            client.closeFuture.whenComplete { _ in self.open.removeValue(forKey: name) }
        }
    }

    func harm(_ harm: FaultyProxy.Harm, most: Int) -> EventLoopFuture<Int> {
        loop.submit {
            let victims = self.open.values.filter { !$0.isSilent }.shuffled().prefix(most)
            for line in victims { line.suffer(harm) }
            return victims.count
        }
    }
}

/// One connection: what comes in on one side goes out on the other.
private final class Line {
    let client: any Channel
    let server: any Channel
    private(set) var isSilent = false

    init(client: any Channel, server: any Channel) {
        self.client = client
        self.server = server
    }

    func pass(_ bytes: ByteBuffer, from channel: any Channel) {
        guard !isSilent else { return }
        (channel === client ? server : client).writeAndFlush(bytes, promise: nil)
    }

    func ended(_ channel: any Channel) {
        guard isSilent else { return (channel === client ? server : client).close(promise: nil) }
        guard channel === client else { return }
        // The server finds out by itself in the end, as it does when it asks for signs of life.
        server.eventLoop.scheduleTask(in: .seconds(15)) { [server] in server.close(promise: nil) }
    }

    /// One side can take no more for now: the other is not read.
    func hold(_ channel: any Channel, isWritable: Bool) {
        setReading(isWritable, of: channel === client ? server : client)
    }

    func suffer(_ harm: FaultyProxy.Harm) {
        switch harm {
        case .stall(let time):
            for channel in [client, server] {
                setReading(false, of: channel)
                channel.eventLoop.scheduleTask(in: .nanoseconds(time.components.seconds * 1_000_000_000)) {
                    channel.setOption(.autoRead, value: true).whenFailure { _ in }
                }
            }
        case .reset:
            for channel in [client, server] {
                if let socket = channel as? any SocketOptionProvider {
                    socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in
                        channel.close(promise: nil)
                    }
                } else {
                    channel.close(promise: nil)
                }
            }
        case .halfOpen: isSilent = true
        }
    }

    private func setReading(_ isReading: Bool, of channel: any Channel) {
        channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
    }
}

/// One side of a line.
private final class Leg: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let line: Line
    private let channel: any Channel

    init(_ line: Line, _ channel: any Channel) {
        self.line = line
        self.channel = channel
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        line.pass(unwrapInboundIn(data), from: channel)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        line.hold(channel, isWritable: channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        line.ended(channel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
