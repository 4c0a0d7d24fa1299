import Hummingbird
import IO
import Postgres

/// Health: `/health/live` says that the process answers, `/health/ready` that the database is there and migrated.
struct HealthDoor: Sendable {
    let pool: Pool
    /// A database that has the schema keeps it: from then on only its presence is asked for.
    private let isMigrated = Locked(false)

    init(pool: Pool) {
        self.pool = pool
    }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/health/live") { _, _ in text("live") }
        router.get("/health/ready") { _, _ in
            do throws(PostgresError) {
                try await checkDatabase()
            } catch {
                throw error.code == .schema ? Problem(.serviceUnavailable, error.message) : .databaseAway
            }
            return text("ready")
        }
    }

    private func checkDatabase() async throws(PostgresError) {
        if isMigrated.withLock({ $0 }) {
            try await pool.query("select 1")
            return
        }
        let migrator = try Migrator.locate()
        do {
            try await pool.withConnection { try await migrator.check($0) }
        } catch let error as PostgresError {
            throw error
        } catch {
            throw PostgresError(.schema, "The schema cannot be checked: \(error)")
        }
        isMigrated.withLock { $0 = true }
    }

    private func text(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text + "\n")))
    }
}
