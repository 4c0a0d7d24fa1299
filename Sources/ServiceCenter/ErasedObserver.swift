import Connector
import FoundationEssentials
import Hummingbird
import Postgres

/// Where a request names a person whom nobody knows, and somebody of that identity was erased, says so.
struct ErasedObserver: RouterMiddleware {
    /// Nil where the key that opens the ledger is missing.
    let erasures: Erasures?

    @concurrent func handle(
        _ request: Request, context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem where problem.status == .notFound {
            let route = context.endpointPath ?? ""
            guard let erasures, route.hasPrefix("/api/v1/persons/") || route.contains("/members/") else {
                throw problem
            }
            let (source, id) = person(in: context)
            guard let told = try await erasures.told(source: source, id: id) else { throw problem }
            throw Problem(.notFound, told)
        }
    }
}
