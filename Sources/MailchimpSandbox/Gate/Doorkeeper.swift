/// Who may come to the control door and to the page.
struct Doorkeeper: Sendable {
    /// Whether other machines may.
    let isOpen: Bool

    /// Why a request may not come in; a browser on this machine may be made to send one by somebody's page.
    func refusal(peer: String, host: String, origin: String?) -> Problem? {
        guard isOpen || (Self.isHere(peer) && Self.isHere(Self.name(of: host))) else {
            return Problem(
                403, "Forbidden",
                "The control door opens to this machine only, at 127.0.0.1 or localhost; --open-control opens it to others."
            )
        }
        guard origin == nil || origin == "http://\(host)" || origin == "https://\(host)" else {
            return Problem(403, "Forbidden", "The control door does not open to the page of another site.")
        }
        return nil
    }

    private static func isHere(_ address: String) -> Bool {
        address == "localhost" || address == "::1" || address == "[::1]" || address.hasPrefix("127.")
            || address.hasPrefix("::ffff:127.")
    }

    /// The host without its port; an IPv6 address keeps its brackets.
    private static func name(of host: String) -> String {
        guard let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") else { return host }
        return String(host[..<colon])
    }
}
