import ArgumentParser
import Connector
import Glibc
import Mailchimp
import Postgres
import TargetGroups

/// How a command ends when it does not end well: one line on stderr, and 1 for failed or 2 for bad usage.
struct Failure: Error {
    /// One line that says what to do.
    var message: String
    /// The exit code.
    var code: Int32 = 1

    /// A failure with this message.
    init(_ message: String, code: Int32 = 1) {
        self.message = message
        self.code = code
    }

    /// What is told of an error that a command threw, or that reading its arguments threw.
    init(_ error: any Error) {
        switch error {
        case let failure as Failure:
            self = failure
        case let error as TargetGroupsError where error.cause is PostgresError && error.code == .database:
            self.init(error.cause ?? error)
        case let error as PostgresError:
            self.init(database: error)
        case let error as MailchimpError where error.code == .invalidKey && error.status == nil:
            self.init(error.detail)
        case let error where ConnectorError.renewal(after: error) != nil:
            self.init((ConnectorError.renewal(after: error) ?? "") + ".")
        case is CancellationError:
            self.init("Stopped.")
        default:
            self.init(parsing: error)
        }
    }

    /// What the database said: our own functions speak to the user, everything else keeps its code.
    private init(database error: PostgresError) {
        let spoken = error.advised
        switch (error.code, error.sqlState) {
        case (.connection, _), (.commitUnknown, _):
            self.init(spoken + ". Check DATABASE_URL, that the server runs, and that its disk is not full.")
        case (_, "22P02") where error.message.hasSuffix("type json"): self.init("What was given is not JSON.")
        case (_, "22023"), (_, "23001"), (_, "42501"), (_, "P0001"), (_, "P0002"), (_, "KS001"): self.init(spoken)
        default: self.init(error.description)
        }
    }

    /// Sorts out requests for help, which are no failures, from arguments that cannot be used.
    private init(parsing error: any Error) {
        switch Koppeling.exitCode(for: error) {
        case .success:
            self.init(Koppeling.fullMessage(for: error), code: 0)
        case .validationFailure:
            // More than five choices come as a list, a line each.
            let said = Koppeling.message(for: error)
                .replacing("one of the following:\n  - ", with: "one of ").replacing("\n  - ", with: ", ")
            let end = said.last.map { ".!?".contains($0) } == true ? "" : "."
            self.init("\(said)\(end) See \(Self.help(for: error)).", code: 2)
        default:
            self.init(String(describing: error))
        }
    }

    /// The command that tells how the one is called whose arguments these were: ArgumentParser names it in its last line.
    private static func help(for error: any Error) -> String {
        let told = Koppeling.fullMessage(for: error).matches(of: /See '(koppeling [^']*)' for more information/)
        return told.last.map { String($0.1) } ?? "koppeling --help"
    }

    /// Ends the program.
    func exit() -> Never {
        if code == 0 {
            print(message)
        } else if !message.isEmpty {
            let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
            Console.error("koppeling: \(line)")
        }
        Glibc.exit(code)
    }
}
