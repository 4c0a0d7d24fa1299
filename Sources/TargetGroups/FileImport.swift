public import Postgres

/// Imports persons, or what belongs to them, from a CSV file: all of it or nothing, unless bad rows are to be skipped.
///
/// The rows go through COPY into a table of the session, are judged and put there in chunks, and become visible together
/// when the transaction commits. Memory stays flat whatever the size of the file.
public struct FileImport: Sendable {
    /// What its rows are.
    public var kind: ImportKind
    /// The file.
    public var path: String
    /// The source of rows without one, for a file that has no such column.
    public var source: String?
    /// Where rows with faults are written with a reason; nil refuses the file when there are any.
    public var rejects: String?
    /// Whether to find out what would happen and change nothing.
    public var isDryRun: Bool
    /// The key of the ledger of erasures, to tell who was erased; nil does not ask it.
    public var ledgerKey: [UInt8]?

    private static let chunk = 5000
    private static let faultsShown = 20

    /// An import of the file at this path.
    public init(
        _ kind: ImportKind = .persons, path: String, source: String? = nil, rejects: String? = nil,
        isDryRun: Bool = false, ledgerKey: [UInt8]? = nil
    ) {
        self.kind = kind
        self.path = path
        self.source = source
        self.rejects = rejects
        self.isDryRun = isDryRun
        self.ledgerKey = ledgerKey
    }

    /// Imports the file and tells of its progress on the way.
    ///
    /// A file with faults comes back as a report that says where they are; a file that is no such list at all, or
    /// cannot be read, is an error.
    public func run(
        in pool: Pool, progress: @Sendable (ImportProgress) -> Void = { _ in }
    ) async throws(TargetGroupsError) -> ImportReport {
        if rejects == path {
            throw TargetGroupsError(
                .badInput, "the rejects cannot go into the file that is imported; name another file")
        }
        var report = ImportReport()
        do {
            try await pool.transaction { connection in
                report = try await run(on: connection, progress: progress)
                // The transaction is rolled back: a file is imported whole, or row by row only when that was asked for.
                guard report.isImported else { throw NothingImported() }
            }
        } catch is NothingImported {
            return report
        } catch {
            throw TargetGroupsError(error)
        }
        return report
    }

    private func run(
        on connection: Connection, progress: @Sendable (ImportProgress) -> Void
    ) async throws -> ImportReport {
        try await connection.query("select koppeling.begin_import()")
        let (columns, rows) = try await stage(on: connection, progress: progress)
        try await connection.query("select koppeling.judge_import(\(kind.rawValue)::text, \(source)::text)")
        var report = try await store(columns, rows: rows, on: connection, progress: progress)
        report.faults = try await faults(columns, on: connection)
        let mayImport = report.rejected == 0 || rejects != nil
        var file: RejectsFile?
        if let rejects, report.rejected > 0, !isDryRun {
            file = try await RejectsFile.write(to: rejects, from: path, columns: columns, connection: connection)
        }
        guard mayImport, !isDryRun else { return report }
        let name = path.split(separator: "/").last.map { String($0) } ?? path
        try await connection.query("select koppeling.finish_import(\(kind.rawValue)::text, \("import " + name)::text)")
        try await file?.finish()
        report.isImported = true
        return report
    }

    private func stage(
        on connection: Connection, progress: @Sendable (ImportProgress) -> Void
    ) async throws -> (ImportColumns, Int) {
        var reader = try await CSVReader(path: path)
        guard let header = try await reader.next() else {
            throw TargetGroupsError(.badInput, "\(path) is empty; its first line names the columns")
        }
        let columns = try ImportColumns(header: header, kind: kind, hasSource: source != nil)
        let row = StagedRow(columns: columns)
        var rows = 0
        try await connection.copyIn("copy import_row (\(row.names)) from stdin") { writer in
            while let record = try await reader.next() {
                try await writer.write(row.encode(record))
                rows += 1
                if rows.isMultiple(of: Self.chunk) {
                    progress(.init(phase: .reading, done: reader.position, total: reader.size))
                }
            }
        }
        return (columns, rows)
    }

    private func store(
        _ columns: ImportColumns, rows: Int, on connection: Connection, progress: @Sendable (ImportProgress) -> Void
    ) async throws -> ImportReport {
        var report = ImportReport(rows: rows)
        report.rejected = try await connection.query(
            "select count(distinct line) from import_fault"
        ).scalar()
        var line = 0
        var seen = 0
        var put = 0
        while true {
            let puts = rejects != nil || report.rejected == 0
            let done = try await chunk(columns, after: line, puts: puts, on: connection)
            guard let last = try done.decode("last_line", as: Int?.self) else { break }
            line = last
            seen += try done.decode("seen", as: Int.self)
            report.rejected += try done.decode("faults", as: Int.self)
            put += try done.decode("put", as: Int.self)
            report.created += try done.decode("created", as: Int?.self) ?? 0
            report.changed += try done.decode("changed", as: Int?.self) ?? 0
            if kind.hasAddresses { report.anonymised += try done.decode("anonymised", as: Int?.self) ?? 0 }
            report.categoriesMade += try done.decode("categories_made", as: Int?.self) ?? 0
            progress(.init(phase: .storing, done: min(seen, rows), total: rows))
        }
        report.unchanged = put - report.created - report.changed
        if let ledgerKey, kind == .persons {
            report.erased = try await connection.query(
                "select koppeling.erased_in_import(\(ledgerKey)::bytea)"
            ).scalar()
            // They were put, and are taken out again by whoever looks at the ledger.
            report.created -= report.erased
        }
        return report
    }

    private func chunk(
        _ columns: ImportColumns, after line: Int, puts: Bool, on connection: Connection
    ) async throws -> Row {
        switch kind {
        case .companies:
            try await connection.query(
                """
                select * from koppeling.import_company_chunk(
                    \(line)::bigint, \(Self.chunk)::bigint, \(source)::text, \(columns.fields)::text[], \(puts)::boolean)
                """)[0]
        case .persons, .positions, .categories:
            try await connection.query(
                """
                select * from koppeling.import_person_chunk(
                    \(line)::bigint, \(Self.chunk)::bigint, \(source)::text, \(columns.emailKinds)::text[],
                    \(columns.fields)::text[], \(puts)::boolean)
                """)[0]
        }
    }

    private func faults(_ columns: ImportColumns, on connection: Connection) async throws -> [ImportReport.Fault] {
        let rows = try await connection.query(
            """
            select line, field, message from import_fault
            order by line, field, message limit \(Self.faultsShown)::bigint
            """)
        return try rows.map { row in
            ImportReport.Fault(
                line: try row.decode("line"), field: try row.decode("field", as: String?.self).map(columns.header),
                message: try row.decode("message"))
        }
    }
}

/// Rolls the transaction of an import back when nothing of it is to stay.
private struct NothingImported: Error {}
