/// The scheme, host and port of an address: what connections are counted by.
struct Origin: Hashable, Sendable, CustomStringConvertible {
    let isPlaintext: Bool
    let host: String
    let port: Int

    /// Reads an address, and refuses those that this client must not call.
    ///
    /// The check is stricter than libcurl's own reading on purpose: what two parsers understand differently is refused.
    init(url: String, allowPlaintext: Bool) throws(HTTPError) {
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") }) else {
            throw HTTPError(.badURL, "The address holds a character that has to be percent-encoded.")
        }
        let lower = url.prefix(8).lowercased()
        let isPlaintext = lower.hasPrefix("http://")
        guard isPlaintext || lower == "https://" else {
            throw HTTPError(.badURL, "The address must start with https://.")
        }
        guard !isPlaintext || allowPlaintext else {
            throw HTTPError(.badURL, "The address starts with http://; only https:// is called.")
        }
        let authority = url.dropFirst(isPlaintext ? 7 : 8).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.contains("@") else {
            throw HTTPError(.badURL, "The address holds credentials; they belong in a header.")
        }
        // An IPv6 address has colons of its own, inside brackets.
        let afterHost = authority.lastIndex(of: "]").map { authority.index(after: $0) } ?? authority.startIndex
        let colon = authority[afterHost...].firstIndex(of: ":")
        host = authority[..<(colon ?? authority.endIndex)].lowercased()
        guard !host.isEmpty else { throw HTTPError(.badURL, "The address has no host.") }
        guard Self.isUnambiguous(host) else {
            throw HTTPError(.badURL, "The host must be a plain name, four numbers, or an IPv6 address in brackets.")
        }
        if let colon {
            let digits = authority[authority.index(after: colon)...]
            guard digits.allSatisfy(\.isASCII), let number = Int(digits), (1...65535).contains(number) else {
                throw HTTPError(.badURL, "The port of the address must be a number from 1 to 65535.")
            }
            port = number
        } else {
            port = isPlaintext ? 80 : 443
        }
        self.isPlaintext = isPlaintext
    }

    /// Whether everybody reads the host as it stands: nothing encoded, and no number that means another one.
    private static func isUnambiguous(_ host: String) -> Bool {
        if host.hasPrefix("[") {
            return host.hasSuffix("]") && host.dropFirst().dropLast().utf8.allSatisfy { $0.isHexDigit || $0 == 0x3a }
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        guard host.utf8.allSatisfy({ $0.isLetterOrDigit || "-._".utf8.contains($0) }) else { return false }
        // libcurl takes 127.1 and 0x7f.1 for 127.0.0.1.
        guard let first = labels.last?.utf8.first ?? nil, first.isDigit else { return true }
        return labels.count == 4
            && labels.allSatisfy { label in UInt8(label).map { String($0) == label } ?? false }
    }

    var description: String { "\(host):\(port)" }
}

extension UInt8 {
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    fileprivate var isHexDigit: Bool { isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self) }
    fileprivate var isLetterOrDigit: Bool { isDigit || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) }
}
