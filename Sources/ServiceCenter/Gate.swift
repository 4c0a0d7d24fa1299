import Hummingbird

/// Lets in whoever shows a token that has the right.
struct Gate: Sendable {
    let tokens: APITokens

    /// The number of the token that the request shows.
    ///
    /// - Throws: a ``Problem`` when there is none that counts, or when it does not have the right.
    @discardableResult
    func admit(_ request: Request, to right: TokenRight) async throws -> Int64 {
        try await token(of: request, with: [right]).id
    }

    /// All that the token may do; it has at least these rights.
    @discardableResult
    func rights(of request: Request, with needed: TokenRight...) async throws -> Set<TokenRight> {
        try await token(of: request, with: needed).rights
    }

    private func token(
        of request: Request, with needed: [TokenRight]
    ) async throws -> (id: Int64, rights: Set<TokenRight>) {
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
        if let right = needed.first(where: { !token.rights.contains($0) }) {
            let command = "koppeling token create NAME " + needed.map { "--may \($0.rawValue)" }.joined(separator: " ")
            throw Problem(
                .forbidden, "This token lacks the right to \(right.rawValue): \(command) makes one that has it.")
        }
        return token
    }

    /// Who shows the token, for the audit; thrown is what ``admit(_:to:)`` throws.
    func actor(of request: Request, with right: TokenRight) async throws -> String {
        "token " + (try await tokens.name(of: try await admit(request, to: right)))
    }
}
