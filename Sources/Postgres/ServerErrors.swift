import CLibPQ

extension PostgresError {
    /// Reads the error of a failed result.
    init(result: OpaquePointer) {
        func field(_ code: UnicodeScalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        let sqlState = field("C")
        let code: Code =
            switch sqlState {
            case "57014", "55P03", "25P03": .timeout
            case "25006": .connection
            case let state? where state.hasPrefix("08") || state.hasPrefix("57P"): .connection
            case nil: .connection
            default: .server
            }
        let fallback = PQresultErrorMessage(result).map { String(cString: $0) } ?? "the server gave no reason"
        self.init(
            code, field("M") ?? String(fallback.split(whereSeparator: \.isNewline).first ?? "the connection was lost"),
            sqlState: sqlState, detail: field("D"), hint: field("H"), constraint: field("n"))
        if isReadOnly {
            hint = "if another server has taken over, name both in DATABASE_URL, and one that takes writes is found"
        }
        table = field("t")
        column = field("c")
        context = field("W")
        isFatal = ["FATAL", "PANIC"].contains(field("V") ?? "FATAL")
    }
}
