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
        /// How often it looks for work although nobody has told it of any.
        public var slowPoll: Duration
        /// How long jobs may go on when it stops.
        public var gracePeriod: Duration
        /// Whether it listens for notifications; behind a pooler it may have to do without.
        public var listens: Bool

        /// Options with the defaults; the name is made of the host and the process.
        public init(
            name: String? = nil, version: String = "0", heartbeat: Duration = .seconds(5),
            deadAfter: Duration = .seconds(15), slowPoll: Duration = .seconds(10),
            gracePeriod: Duration = .seconds(20), listens: Bool = true
        ) {
            self.name = name ?? "\(Self.host)-\(getpid())"
            self.version = version
            self.heartbeat = heartbeat
            self.deadAfter = deadAfter
            self.slowPoll = slowPoll
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
