/// The statements that one connection has prepared, by their text and the types of their parameters.
struct StatementCache {
    struct Key: Hashable {
        let sql: String
        let types: [UInt32]
    }

    /// Enough for every statement of this program; statements with spliced names could grow without end.
    static let capacity = 256

    private var names: [Key: String] = [:]
    private var lastNumber = 0

    var isFull: Bool { names.count >= Self.capacity }

    subscript(key: Key) -> String? { names[key] }

    mutating func newName() -> String {
        lastNumber += 1
        return "koppeling_\(lastNumber)"
    }

    mutating func insert(_ key: Key, _ name: String) {
        names[key] = name
    }

    mutating func forget(_ key: Key) {
        names[key] = nil
    }

    mutating func forgetAll() {
        names = [:]
    }
}
