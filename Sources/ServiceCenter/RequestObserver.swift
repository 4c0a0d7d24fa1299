import Hummingbird
import Logging
import Metrics
import Postgres

/// Counts and times every request, and turns whatever a door throws into a problem that says no more than it should.
///
/// A request is named by its route, never by its path: the path of a webhook holds its secret.
struct RequestObserver: RouterMiddleware {
    let metrics: PrometheusRegistry
    let logger: Logger

    @concurrent func handle(
        _ request: Request, context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        let started = ContinuousClock.now
        let route = context.endpointPath ?? "unknown"
        let response: Response
        do {
            response = try await next(request, context)
        } catch {
            response = try problem(for: error, route: route).response(from: request, context: context)
        }
        let elapsed = ContinuousClock.now - started
        let dimensions = [("method", method(of: request)), ("route", route), ("status", String(response.status.code))]
        Metrics.Timer(label: "koppeling_http_request_duration", dimensions: dimensions, factory: metrics).record(
            duration: elapsed)
        logger.debug(
            "A request was answered.",
            metadata: ["route": "\(route)", "status": "\(response.status.code)", "duration": "\(elapsed)"])
        return response
    }

    private func problem(for error: any Error, route: String) -> Problem {
        switch error {
        case let problem as Problem:
            return problem
        case let error as any HTTPResponseError where error.status == .notFound || error.status == .methodNotAllowed:
            return Problem(
                error.status,
                "Nothing answers to this method at this path; docs/target-groups.md and docs/job-queue.md list what does."
            )
        case let error as any HTTPResponseError:
            return Problem(error.status, error.status.reasonPhrase)
        case let error as PostgresError where error.code == .connection || error.code == .timeout || error.isRetryable:
            logger.warning("A request found no database.", metadata: ["route": "\(route)", "error": "\(error)"])
            return .databaseAway
        default:
            logger.error("A request failed.", metadata: ["route": "\(route)", "error": "\(error)"])
            return Problem(.internalServerError, "The request failed; the log of the service center says why.")
        }
    }

    /// The method, unless it is one that nobody has heard of: callers must not be able to make up time series.
    private func method(of request: Request) -> String {
        switch request.method {
        case .get, .head, .post, .put, .patch, .delete, .options: request.method.rawValue
        default: "other"
        }
    }
}
