import Glibc

extension Worker {
    /// How a worker behaves.
    public struct Options: Sendable {
        /// What it is called in the views; it need not be unique.
        public var name: String
        /// The release it belongs to.
        public var version: String
        /// How often it gives a sign of life.
        public var heartbeat: Duration
        /// After how long without one a worker counts as dead.
        public var deadAfter: Duration
        /// How often it looks for work although nobody has told it of any; a transaction each time.
        public var slowPoll: Duration
        /// How long jobs may go on when it stops.
        public var gracePeriod: Duration
        /// Whether it listens for notifications; behind a pooler that lends sessions by the transaction it cannot.
        public var listens: Bool

        /// Options with the defaults; the name is made of the host and the process.
        ///
        /// One that listens looks every 10 s, one that does not every second.
        public init(
            name: String? = nil, version: String = "0", heartbeat: Duration = .seconds(5),
            deadAfter: Duration = .seconds(15), slowPoll: Duration? = nil,
            gracePeriod: Duration = .seconds(20), listens: Bool = true
        ) {
            self.name = name ?? "\(Self.host)-\(getpid())"
            self.version = version
            self.heartbeat = heartbeat
            self.deadAfter = deadAfter
            self.slowPoll = slowPoll ?? (listens ? .seconds(10) : .seconds(1))
            self.gracePeriod = gracePeriod
            self.listens = listens
        }

        static var host: String {
            let name = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer -> String? in
                guard let start = buffer.baseAddress, unsafe gethostname(start, 255) == 0 else { return nil }
                unsafe buffer[255] = 0
                return unsafe String(cString: start)
            }
            return name ?? "unknown"
        }
    }
}
