import JobQueue
import Logging

/// The program's log, on stderr.
enum Log {
    /// Sets up logging, once a process; everything that makes a logger later gets the level of the settings.
    static func logger(_ settings: Settings) -> Logger {
        _ = bootstrapped
        var logger = Logger(label: "koppeling")
        logger.logLevel = settings.logLevel
        return logger
    }

    private static let bootstrapped: Void = LoggingSystem.bootstrap(
        { label, provider in StreamLogHandler.standardError(label: label, metadataProvider: provider) },
        metadataProvider: .jobs)
}
