import EmbeddedPostgres
import Testing

@Suite("The programs of PostgreSQL") struct ServerProgramsTests {
    @Test("are found, and all in one folder") func find() throws {
        let programs = try ServerPrograms.find()
        #expect(programs.path("postgres") == programs.folder + "/postgres")
    }
}
