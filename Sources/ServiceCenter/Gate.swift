import Hummingbird

/// Lets in whoever shows a token that has the right.
struct Gate: Sendable {
    let tokens: APITokens

    /// The number of the token that the request shows.
    ///
    /// - Throws: a ``Problem`` when there is none that counts, or when it does not have the right.
    @discardableResult
    func admit(_ request: Request, to right: TokenRight) async throws -> Int64 {
        let scheme = "Bearer "
        guard
            let header = request.headers[.authorization],
            header.prefix(scheme.count).lowercased() == scheme.lowercased(),
            let token = try await tokens.find(String(header.dropFirst(scheme.count)))
        else {
            var problem = Problem(
                .unauthorized, "Send a token that was not revoked, as: Authorization: Bearer TOKEN.")
            problem.headers[.wwwAuthenticate] = "Bearer"
            throw problem
        }
        guard token.rights.contains(right) else {
            let command = "koppeling token create NAME --may \(right.rawValue)"
            throw Problem(
                .forbidden, "This token lacks the right to \(right.rawValue): \(command) makes one that has it.")
        }
        return token.id
    }

    /// Who shows the token, for the audit; thrown is what ``admit(_:to:)`` throws.
    func actor(of request: Request, with right: TokenRight) async throws -> String {
        "token " + (try await tokens.name(of: try await admit(request, to: right)))
    }
}
