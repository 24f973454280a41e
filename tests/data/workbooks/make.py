"""Makes the workbooks of this folder with openpyxl 3.1.5, an independent library. Run it in this folder; the tests read
what it made, and do not run it."""

import csv
import datetime as dt
import openpyxl
from openpyxl.utils.datetime import CALENDAR_MAC_1904

DAY = dt.date(2026, 11, 16)
STAMP = dt.datetime(2026, 11, 20, 16)


def save(book, name):
    book.properties.created = book.properties.modified = STAMP
    book.save(name + ".xlsx")


def book(rows, title="Register"):
    made = openpyxl.Workbook()
    made.active.title = title
    for row in rows:
        made.active.append(row)
    return made


# A mark a row, with dates that are dates: what exports/riverside-marks.csv holds. A hidden sheet stands before it, and
# another behind it.
with open("../exports/riverside-marks.csv", encoding="utf-8-sig", newline="") as file:
    heading, *rows = csv.reader(file)
day_of = lambda text: dt.datetime.strptime(text, "%d/%m/%Y").date()
made = book([heading])
for row in rows:
    row[3], row[4] = day_of(row[3]), day_of(row[4])
    row[7] = int(row[7]) if row[7] else None
    made.active.append([None if cell == "" else cell for cell in row])
    # A comment that begins with = is a text.
    made.active.cell(made.active.max_row, 9).data_type = "s" if row[8] else "n"
for column in "DE":
    for cell in made.active[column]:
        cell.number_format = "DD/MM/YYYY"
made.create_sheet("Lists", 0).sheet_state = "hidden"
made.create_sheet("Notes").append(["not read"])
save(made, "riverside-marks")

# A child a row under two rows of headings, in which each day is merged over AM and PM, below a merged title.
made = book([["Register of the week"], [], ["UPN", DAY, None, DAY + dt.timedelta(1), None],
             [None, "AM", "PM", "AM", "PM"],
             ["E940578619469", "/", "\\", "I", None], ["B334716616741", "/", "\\", "/", "\\"]])
sheet = made.active
for cells in ["A1:E1", "B3:C3", "D3:E3"]:
    sheet.merge_cells(cells)
save(made, "week")

# A tutor's log in the date system of 1904: dates, times of day, numbers.
made = openpyxl.Workbook()
made.epoch = CALENDAR_MAC_1904
made.active.append(["Ref", "Date", "Start", "End", "Planned (mins)", "Attended", "Attended (mins)"])
made.active.append(["BW-001", dt.date(2026, 11, 2), dt.time(16, 30), dt.time(18, 0), 90, "Y", 90])
made.active.append(["BW-001", dt.date(2026, 11, 4), dt.time(9, 10), dt.time(10, 40), 90, "Y", 85])
save(made, "tuition-1904")

# What is refused: dates as plain numbers, one mark merged over two rows, two columns of marks, a formula that nobody
# calculated.
head = ["UPN", "Date", "Session", "Mark"]
child = "E940578619469"
save(book([head, [child, 46342, "AM", "/"]]), "serials")
made = book([head, [child, DAY, "AM", "/"], [child, DAY, "PM", None], ["B334716616741", DAY, "AM", "/"]])
made.active.merge_cells("D2:D3")
save(made, "merged")
save(book([head + ["Mark"], [child, DAY, "AM", "/", "I"]]), "two-marks")
save(book([head, [child, DAY, "AM", '=IF(1=1,"/","")'], [child, DAY, "PM", "\\"]]), "formula")
