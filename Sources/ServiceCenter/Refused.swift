import Connector
import Hummingbird
import Postgres
import TargetGroups

/// Runs the body, and answers what the domain or the link refuses with a problem that says what to do.
func refused<Value>(_ body: () async throws -> Value) async throws -> Value {
    do {
        return try await body()
    } catch let error as PostgresError {
        throw Problem(domainRefusal: error) ?? error
    } catch let error as TargetGroupsError {
        throw Problem(error) ?? error.cause ?? error
    } catch let error as ConnectorError {
        throw Problem(error)
    }
}

extension Problem {
    /// The answer to what the domain refused; nil when the fault is not the caller's.
    fileprivate init?(_ error: TargetGroupsError) {
        if let cause = error.cause as? PostgresError, cause.sqlState != "KC001" {
            self.init(domainRefusal: cause)
            return
        }
        switch error.code {
        case .badInput: self.init(.unprocessableContent, error.message)
        case .needsConfirmation: self.init(.unprocessableContent, error.message, field: "confirm")
        case .notFound: self.init(.notFound, error.message)
        case .exists, .stale, .refused: self.init(.conflict, error.message)
        case .file, .database: return nil
        }
    }

    /// The answer to what the link refused.
    fileprivate init(_ error: ConnectorError) {
        let status: HTTPResponse.Status =
            switch error.code {
            case .badSetting, .wrongKey: .serviceUnavailable
            case .notFound: .notFound
            case .alreadyLinked, .wrongState: .conflict
            case .noList: .unprocessableContent
            case .refused: .badGateway
            }
        self.init(status, error.message)
    }

    /// The answer where the service center runs without the key that the link needs.
    static var noKey: Problem {
        Problem(
            .serviceUnavailable, "This service center runs without KOPPELING_SECRET_KEY, which the link needs: set it.")
    }
}
