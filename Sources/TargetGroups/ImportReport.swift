/// What an import did, or why it did nothing.
public struct ImportReport: Sendable, Hashable, Codable {
    /// Something wrong with a row.
    public struct Fault: Sendable, Hashable, Codable, CustomStringConvertible {
        /// The line on which the row begins; the header is line 1.
        public var line: Int
        /// The column, by its name in the file; nil when the whole row is meant.
        public var field: String?
        /// What is wrong.
        public var message: String

        /// The fault in one line.
        public var description: String {
            "line \(line)\(field.map { ", \($0)" } ?? ""): \(message)"
        }
    }

    /// Whether the rows without faults are in the database now.
    public var isImported = false
    /// How many rows the file has.
    public var rows = 0
    /// How many persons or companies are new.
    public var created = 0
    /// How many were there and changed.
    public var changed = 0
    /// How many were there and are as they were.
    public var unchanged = 0
    /// How many were anonymised and are erased, if they are there at all.
    public var anonymised = 0
    /// How many were erased once, and are not taken in; 0 where the ledger of erasures could not be asked.
    public var erased = 0
    /// How many categories were made.
    public var categoriesMade = 0
    /// How many rows have faults.
    public var rejected = 0
    /// The first faults, in the order of the file.
    public var faults: [Fault] = []

    private enum CodingKeys: String, CodingKey {
        case isImported = "is_imported"
        case categoriesMade = "categories_made"
        case rows, created, changed, unchanged, anonymised, erased, rejected, faults
    }
}

/// How far an import is.
public struct ImportProgress: Sendable, Hashable {
    /// What it is doing.
    public enum Phase: String, Sendable, Hashable {
        /// Reading the file; the numbers are bytes.
        case reading
        /// Judging and storing; the numbers are rows.
        case storing
    }

    /// What it is doing.
    public var phase: Phase
    /// How much of it is done.
    public var done: Int
    /// How much there is.
    public var total: Int
}
