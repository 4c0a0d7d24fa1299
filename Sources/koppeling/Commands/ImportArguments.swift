import ArgumentParser
import Connector
import IO
import Postgres
import TargetGroups

/// What every import of a file is told, and how it is carried out.
struct ImportArguments: ParsableArguments {
    @Argument(help: "The CSV file, in UTF-8 or Windows-1252.")
    var file: String

    @Option(help: "The source of rows that name none.")
    var source: String?

    @Option(help: "Import the good rows, and write the others into this file, each with its reason.")
    var skipBad: String?

    @Flag(help: "Only say what would happen.")
    var dryRun = false

    @Flag(help: "The report as one JSON object.")
    var json = false

    /// What all of these commands say of themselves.
    static let discussion = """
        The first line names the columns, in English or Dutch. An empty cell clears the field; a column that is not there \
        leaves it; what is not in the file stays as it is.
        """

    /// Imports the file as rows of this kind.
    func run(_ kind: ImportKind) async throws {
        try await Runtime.with { runtime in
            let progress = ProgressLines()
            let report = try await FileImport(
                kind, path: file, source: source, rejects: skipBad, isDryRun: dryRun,
                ledgerKey: (try? await runtime.erasures?.ledgerKey()) ?? nil
            ).run(in: runtime.pool) { progress.show($0) }
            try show(report)
        }
    }

    private func show(_ report: ImportReport) throws {
        if json {
            Console.line(try JSONText(encoding: report).text)
        } else if report.isImported || dryRun {
            Console.line(
                "\(report.rows.counted("row")): \(report.created) new, \(report.changed) changed, \(report.unchanged) as they were, "
                    + "\(report.rejected) with faults; \(report.categoriesMade.counted("new category", "new categories"))."
                    + anonymised(report.anonymised) + erased(report.erased))
        }
        if report.rejected > 0, !json || !dryRun {
            if dryRun || !report.isImported { for fault in report.faults { Console.error("\(file): \(fault)") } }
            if let skipBad { Console.error("The rows with faults \(dryRun ? "would be" : "are") in \(skipBad).") }
        }
        guard !report.isImported, report.rejected > 0, skipBad == nil else { return }
        guard !dryRun else {
            if json { return }
            return Console.error(
                "Nothing would be imported, because \(report.rejected.counted("row has", "rows have")) faults.")
        }
        throw Failure(
            "Nothing was imported, because \(report.rejected.counted("row has", "rows have")) faults: "
                + "mend them, or import the others with --skip-bad REJECTS.csv.")
    }

    private func erased(_ count: Int) -> String {
        let nothing = "nothing of them \(dryRun ? "would be" : "is") taken in."
        return count == 0 ? "" : " \(count) \(count == 1 ? "was" : "were") erased: \(nothing)"
    }

    private func anonymised(_ count: Int) -> String {
        count == 0 ? "" : " \(count) were anonymised: who of them is known \(dryRun ? "would be" : "is") erased."
    }
}

/// Progress on stderr, a line every few seconds.
private final class ProgressLines: Sendable {
    private let shown = Locked(ContinuousClock.now)

    func show(_ progress: ImportProgress) {
        let isDue = shown.withLock { shown in
            guard shown + .seconds(2) < .now else { return false }
            shown = .now
            return true
        }
        guard isDue, progress.total > 0 else { return }
        Console.error("\(progress.phase.rawValue) \(progress.done * 100 / progress.total) %")
    }
}
